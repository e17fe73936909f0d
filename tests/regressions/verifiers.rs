//! Verifiers that reinforcement cannot game.
