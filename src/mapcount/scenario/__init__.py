"""Stories: the scenario language, scenarios run on kernels, expectations, and answers compared."""
