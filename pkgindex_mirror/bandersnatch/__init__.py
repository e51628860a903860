"""Reading configurations of bandersnatch and morgan."""
