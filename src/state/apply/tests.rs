mod model;
mod replay;
mod script;
