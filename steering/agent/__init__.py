"""The running agent: what drives the stages, and all that it holds open meanwhile."""
