"""Parts that the commands of both programs share: their lookup, their help, their output. Only programs import it."""
