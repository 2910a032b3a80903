//! Lambda's own runtime clients with the shim and without it, and what Lambda hears of both.
//!
//! | file | what |
//! |---|---|
//! | [`client`] | the clients, and what is known of each |
//! | [`events`] | what they are all sent |
//! | [`lambda`] | a Lambda that keeps every request byte for byte |
//! | [`sandbox`] | a client alone, or behind the layer |
//! | [`difference`] | what was heard, compared |
//! | [`wire`] | HTTP, byte for byte |

pub mod client;
pub mod difference;
pub mod events;
pub mod lambda;
pub mod sandbox;
pub mod wire;
