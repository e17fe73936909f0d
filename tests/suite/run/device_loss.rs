//! A GPU that goes away in the middle of a run: an error that says what to do, no panic, no hang.

use crate::alone::alone;
use pollster::block_on;
use srft::config::Config;
use srft::device::select;
use srft::error::Kind;
use srft::run::{Parts, trainer};

#[test]
fn a_lost_device_is_an_error_that_names_the_way_out() {
    alone("run::device_loss::a_lost_device_is_an_error_that_names_the_way_out", lost);
}

fn lost() {
    let selected = block_on(select("vulkan")).expect("a Vulkan adapter (on Debian: lavapipe)");
    let settings = "[rollout]\nprompts = 2\ngroup = 2\nmax_new_tokens = 4";
    let config = Config::resolve(&[Config::layer(settings, "test").unwrap()]).unwrap();
    let Parts { mut trainer, .. } = trainer(config, &selected.device).unwrap();
    block_on(trainer.step()).unwrap();

    selected.gpu.expect("a wgpu device").destroy();
    let error = block_on(trainer.step()).expect_err("nothing can be computed on a lost device");
    assert_eq!(error.kind, Kind::Machine, "{error}");
    assert!(error.to_string().contains("--device cpu"), "{error}");
    assert_eq!(trainer.step, 1, "the step that failed does not count");
}
