"""The meaning of searches: their language, which projects they find, and in which order. Pure, and the same for every catalogue.

folding    texts as words that are compared
queries    the language: words, phrases, restrictions, negation
ranking    whether an entry fits a query, and its rank
entries    an entry of the metadata of a version
"""
