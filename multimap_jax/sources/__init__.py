"""Where images come from: folders, lists, tar files, parquet files, ready embeddings."""
