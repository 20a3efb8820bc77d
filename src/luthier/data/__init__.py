"""Loading data: from files, folders, the Hub and bundled text to examples, splits and batches."""
