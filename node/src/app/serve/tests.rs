use crate::config::{Disk, Flag, Inputs, Loaded, load};
