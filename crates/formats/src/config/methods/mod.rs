//! Methods as settings. Each file holds one method: its formula, and the keys of `[objective]` that
//! make the trainer compute it. `docs/methods.md` compares them side by side.

mod bread;
mod chord;
mod cispo;
mod clip_cov;
mod dapo;
mod dft;
mod dr_grpo;
mod eaft;
mod grpo;
mod gspo;
mod gtpo;
mod hpt;
mod luffy;
mod opsd;
mod prefix_rft;
mod relift;
mod sft;
mod sft_kl;
mod sft_plus_grpo;
mod srft;
mod srft_hpt;
mod srft_lean;
mod srft_official;
mod stages;
mod top_entropy;
mod trsft;
mod uft;

use super::value::{Setting, named};
use toml::{Table, Value};

macro_rules! methods {
    ($(#[doc = $doc:literal])+
     $($name:literal $(| $alias:literal)? => $method:ident: $settings:expr;)+) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method { $(#[doc = concat!("`", $name, "`")] $method,)+ }

        impl Setting for Method {
            fn read(_: &str, value: &Value) -> Result<Self, String> {
                $($(if value.as_str() == Some($alias) { return Ok(Self::$method); })?)+
                named(value, Self::ALL.iter().map(|method| (method.name(), *method)))
            }

            fn write(&self) -> Value {
                self.name().into()
            }
        }

        impl Method {
            /// All methods.
            pub const ALL: &[Method] = &[$(Method::$method),+];

            /// The name in configs.
            pub fn name(self) -> &'static str {
                match self { $(Method::$method => $name,)+ }
            }

            /// The keys of `[objective]` that differ from the defaults, as TOML, and after them those of other sections.
            fn settings(self) -> String {
                match self { $(Method::$method => $settings.into(),)+ }
            }
        }
    };
}

methods! {
    /// A named set of objective switches.
    "srft" => Srft: srft::SETTINGS;
    "srft-official" => SrftOfficial: srft_official::SETTINGS;
    "srft-hpt" => SrftHpt: srft_hpt::SETTINGS;
    "srft-lean" => SrftLean: srft_lean::SETTINGS;
    "sft" => Sft: sft::SETTINGS;
    "sft-kl" => SftKl: sft_kl::SETTINGS;
    "dft" => Dft: dft::SETTINGS;
    "eaft" => Eaft: eaft::SETTINGS;
    "trsft" => Trsft: trsft::SETTINGS;
    "grpo" => Grpo: grpo::SETTINGS;
    "dr-grpo" => DrGrpo: dr_grpo::SETTINGS;
    "dapo" => Dapo: dapo::SETTINGS;
    "top-entropy" => TopEntropy: top_entropy::SETTINGS;
    "clip-cov" => ClipCov: clip_cov::SETTINGS;
    "gtpo" => Gtpo: gtpo::SETTINGS;
    "gspo" => Gspo: gspo::SETTINGS;
    "cispo" => Cispo: cispo::SETTINGS;
    "opsd" => Opsd: opsd::SETTINGS;
    "uft" => Uft: uft::SETTINGS;
    "prefix-rft" => PrefixRft: prefix_rft::SETTINGS;
    "bread" => Bread: bread::SETTINGS;
    "sft+grpo" => SftPlusGrpo: sft_plus_grpo::SETTINGS;
    "sft-grpo" | "sft→grpo" => SftGrpo: stages::settings(sft::SETTINGS, "grpo");
    "grpo-sft" | "grpo→sft" => GrpoSft: stages::settings(grpo::SETTINGS, "sft");
    "luffy" => Luffy: luffy::SETTINGS;
    "relift" => Relift: relift::SETTINGS;
    "chord" => Chord: chord::SETTINGS;
    "hpt" => Hpt: hpt::SETTINGS;
}

impl Method {
    /// All names.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|m| m.name()).collect()
    }

    /// The method of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }

    /// What the method changes from the defaults, as a layer of settings.
    pub fn preset(self) -> Table {
        let settings: Table = self.settings().parse().expect("TOML");
        let (mut preset, objective): (Table, Table) =
            settings.into_iter().partition(|(_, value)| value.is_table());
        preset.insert("objective".into(), Value::Table(objective));
        preset
    }
}
