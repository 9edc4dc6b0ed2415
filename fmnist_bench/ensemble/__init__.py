"""The result: `StackedEnsemble`, how its members and weights are chosen, how it is saved, loaded and served."""
