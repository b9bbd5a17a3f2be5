mod arms;
mod model;
mod replay;
