"""What requests and answers consist of: schemas, bodies, forms, entity tags, problems."""
