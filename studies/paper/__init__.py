"""The paper's models: recipes, and what they compute."""
