//! What an operator sees: four-letter words, statistics, metrics.
