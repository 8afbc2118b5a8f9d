"""The kinds of encoders: each is declared, fitted on the train part, and gives nodes of the graph."""
