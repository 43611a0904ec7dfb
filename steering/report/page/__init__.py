"""The page: HTML that works without scripts, and what changes on it while somebody looks.

`history` keeps what has happened lately, `markup` writes HTML, `parts` are what all pages share.
`front` is the page, `timeline` its plot and events, `address` the page of one address. `static` has
the style, one module of ours for live changes, and uPlot for the plot.
"""
