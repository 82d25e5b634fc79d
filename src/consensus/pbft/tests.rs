//! Stories, a world driven by seeds, crashes between any two effects, and hostile input.

mod behind;
mod byzantine;
mod crash;
mod guards;
mod hostile;
mod network;
mod puppets;
mod sets;
mod stories;
mod story;
mod view_stories;
mod world;
