"""Which trial is next: time is given to studies, successive halving promotes, Optuna or KerasTuner proposes."""
