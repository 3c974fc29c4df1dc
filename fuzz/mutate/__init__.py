"""The measure of the suite's own strength: bugs planted by rule, who catches them, how fast, and who survives."""
