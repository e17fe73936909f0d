//! The sources themselves: their walls, and every shader. This binary links no burn.

mod architecture;
mod shaders;
