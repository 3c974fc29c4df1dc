"""The misuse catalogue: faults as data, what each target makes of them, and how much harm is stopped in time."""
