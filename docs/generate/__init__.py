"""Reference pages in Markdown, made from the code."""
