"""What servers of packages have tripped over: archives and the parts that they are made of, and spellings of names."""
