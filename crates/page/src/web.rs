//! The browser's shell: JSON in, JSON out. Everything else is the same core as the native program.

use crate::lab;
use crate::lab::protocol::{Command, Complaint, Event};
use crate::platform::set_tiny_weights;
use crate::text::blame;
use js_sys::{Function, Uint8Array};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;

thread_local! {
    /// Called on a panic, after which nothing else of the program can be relied on.
    static PANICKED: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Runs of SFT, RL and SRFT in step. Make only one, and await each call before the next.
#[wasm_bindgen]
pub struct Lab(lab::Lab);

#[wasm_bindgen]
impl Lab {
    /// `weights` are the bytes of the built-in model's `model.safetensors`; `emit` is called with each
    /// event as JSON and, where the event is a file, its bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(weights: Vec<u8>, emit: Function) -> Self {
        set_tiny_weights(weights);
        PANICKED.set(Some(emit.clone()));
        std::panic::set_hook(Box::new(|info| {
            let defect = || Complaint {
                kind: "machine".into(),
                what: info.to_string(),
                place: None,
                next: Some("this is a defect of srft: please report it with these words".into()),
                fatal: true,
            };
            let error = blame().map_or_else(defect, |e| Complaint { fatal: true, ..(&e).into() });
            PANICKED.with_borrow(|emit| {
                if let Some(emit) = emit {
                    tell(emit, &Event::Error(error), None);
                }
            });
        }));
        let emit: lab::Emit = Box::new(move |event, bytes| tell(&emit, &event, bytes));
        #[cfg(feature = "models")]
        let lab = lab::Lab::with("runs", Box::new(lab::Brought::new()), emit);
        #[cfg(not(feature = "models"))]
        let lab = lab::Lab::new("runs", emit);
        Self(lab)
    }

    /// Carries out a command, given as JSON; `bytes` are the file of a `load`. Errors are events.
    pub async fn handle(&mut self, command: String, bytes: Option<Vec<u8>>) {
        match serde_json::from_str::<Command>(&command) {
            Ok(command) => self.0.handle(command, bytes).await,
            Err(e) => self.0.complain(
                &crate::error::Error::input(format!("not a command: {e}: {command}"))
                    .next("protocol.d.ts has every command"),
            ),
        }
    }

    /// Does a slice of the evaluation under way, or a step of the run that has done the fewest. Call it as
    /// long as `busy` is true.
    pub async fn advance(&mut self) {
        self.0.advance().await;
    }

    /// Whether there are steps or slices to do.
    #[wasm_bindgen(getter)]
    pub fn busy(&self) -> bool {
        self.0.is_busy()
    }

    /// Whether an evaluation is under way.
    #[wasm_bindgen(getter)]
    pub fn evaluating(&self) -> bool {
        self.0.is_evaluating()
    }
}

fn tell(emit: &Function, event: &Event, bytes: Option<Vec<u8>>) {
    let text = serde_json::to_string(event).expect("events are plain records");
    let bytes = bytes.map_or(JsValue::UNDEFINED, |b| Uint8Array::from(&b[..]).into());
    // Exceptions in the page's listener are ignored; the run goes on.
    let _ = emit.call2(&JsValue::NULL, &text.into(), &bytes);
}
