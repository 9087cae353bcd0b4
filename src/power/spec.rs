//! `--power`: which source is wanted.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::gpu::pci::PciAddress;

/// Which power source is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PowerSpec {
    /// Whichever belongs to the adapter.
    #[default]
    Auto,
    /// None.
    None,
    /// A GPU that NVML knows; without a choice, that of the adapter.
    Nvml(Option<NvmlDevice>),
    /// CPU packages; without a name (`package-0`), all of them.
    Rapl(Option<String>),
    /// A GPU's sensor by its driver (`amdgpu`) or place (`0000:03:00.0`); without
    /// either, that of the adapter.
    Hwmon(Option<HwmonSensor>),
    /// Apple's sensors of the GPU.
    IoReport,
    /// A program that prints watts or joules, and its arguments.
    Command(Vec<String>),
}

/// How an NVML device is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NvmlDevice {
    /// NVML's number.
    Index(u32),
    /// Its UUID, `GPU-…`.
    Uuid(String),
    /// Its place on the PCI bus.
    Pci(PciAddress),
}

/// How a GPU's hwmon sensor is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HwmonSensor {
    /// By its driver, `amdgpu`, `i915` or `xe`.
    Driver(String),
    /// By the GPU's place on the PCI bus.
    Pci(PciAddress),
}

/// The text names no power source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Not a kind of source.
    #[error(
        "{0:?} is no power source: choose auto, none, nvml[:index|uuid|pci], rapl[:package-0], \
         hwmon[:driver|pci], ioreport or command:'program arguments'"
    )]
    UnknownKind(String),
    /// Not an NVML device.
    #[error(
        "{0:?} is no GPU of NVML: choose by its index (nvml:0), UUID (nvml:GPU-…) or PCI address \
         (nvml:0000:01:00.0); `flopwatt power` lists them"
    )]
    NvmlDevice(String),
    /// Not a hwmon sensor.
    #[error(
        "{0:?} is no GPU sensor of hwmon: choose by driver (hwmon:amdgpu, hwmon:i915, hwmon:xe) or \
         PCI address (hwmon:0000:03:00.0); `flopwatt power` lists them"
    )]
    HwmonSensor(String),
    /// A name is expected after the colon.
    #[error("a name is missing after {0:?}; leave the colon away to choose by the adapter")]
    Empty(String),
    /// No program is named.
    #[error("command: needs a program, such as command:'ipmi-power --watch'")]
    NoProgram,
    /// A quote is not closed.
    #[error("a quote in the power command {0:?} is not closed")]
    OpenQuote(String),
}

impl FromStr for PowerSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = match text.split_once(':') {
            Some((kind, "")) if kind != "command" => return Err(SpecError::Empty(text.into())),
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        match (kind, rest) {
            ("auto", None) => Ok(Self::Auto),
            ("none", None) => Ok(Self::None),
            ("nvml", rest) => Ok(Self::Nvml(rest.map(str::parse).transpose()?)),
            ("rapl", rest) => Ok(Self::Rapl(rest.map(str::to_owned))),
            ("hwmon", rest) => Ok(Self::Hwmon(rest.map(str::parse).transpose()?)),
            ("ioreport", None) => Ok(Self::IoReport),
            ("command", rest) => words(rest.unwrap_or_default()).map(Self::Command),
            _ => Err(SpecError::UnknownKind(text.into())),
        }
    }
}

impl FromStr for NvmlDevice {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(index) = text.parse() {
            return Ok(Self::Index(index));
        }
        if text.starts_with("GPU-") {
            return Ok(Self::Uuid(text.into()));
        }
        let address = text.parse().map_err(|_| SpecError::NvmlDevice(text.into()));
        address.map(Self::Pci)
    }
}

impl FromStr for HwmonSensor {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The names that the listing shows: `hwmon:amdgpu:0000:03:00.0`.
        let place = super::hwmon::DRIVERS.iter().find_map(|driver| {
            let rest = text.strip_prefix(driver.name)?;
            rest.strip_prefix(':')
        });
        if let Ok(address) = place.unwrap_or(text).parse() {
            return Ok(Self::Pci(address));
        }
        let known = super::hwmon::DRIVERS.iter().any(|d| d.name == text);
        if known {
            return Ok(Self::Driver(text.into()));
        }
        Err(SpecError::HwmonSensor(text.into()))
    }
}

/// Splits a command line at blanks; quotes keep blanks together, as in a shell.
/// Nothing is expanded, and no shell runs.
fn words(line: &str) -> Result<Vec<String>, SpecError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(SpecError::OpenQuote(line.into()));
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoProgram);
    }
    Ok(words)
}

/// A word as [`words`] reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '\'' && c != '"';
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    // A quote of one kind stands within quotes of the other.
    let mut text = String::new();
    for part in word.split_inclusive('\'') {
        let (plain, quote) = match part.strip_suffix('\'') {
            Some(plain) => (plain, "\"'\""),
            None => (part, ""),
        };
        text += &format!("'{plain}'{quote}");
    }
    if text.is_empty() { "''".into() } else { text }
}

impl fmt::Display for PowerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::Nvml(None) => f.write_str("nvml"),
            Self::Nvml(Some(NvmlDevice::Index(index))) => write!(f, "nvml:{index}"),
            Self::Nvml(Some(NvmlDevice::Uuid(uuid))) => write!(f, "nvml:{uuid}"),
            Self::Nvml(Some(NvmlDevice::Pci(address))) => write!(f, "nvml:{address}"),
            Self::Rapl(None) => f.write_str("rapl"),
            Self::Rapl(Some(package)) => write!(f, "rapl:{package}"),
            Self::Hwmon(None) => f.write_str("hwmon"),
            Self::Hwmon(Some(HwmonSensor::Driver(driver))) => write!(f, "hwmon:{driver}"),
            Self::Hwmon(Some(HwmonSensor::Pci(address))) => write!(f, "hwmon:{address}"),
            Self::IoReport => f.write_str("ioreport"),
            Self::Command(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                write!(f, "command:{}", words.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = PciAddress> {
        (0u32..0x1_0000, any::<u8>(), 0u8..32, 0u8..8).prop_map(
            |(domain, bus, device, function)| PciAddress {
                domain,
                bus,
                device,
                function,
            },
        )
    }

    fn spec() -> impl Strategy<Value = PowerSpec> {
        let uuid = "GPU-[0-9a-f]{8}-[0-9a-f]{4}";
        let command = ("[^\\s'\"]{1,8}", prop::collection::vec(".{0,8}", 0..4));
        prop_oneof![
            Just(PowerSpec::Auto),
            Just(PowerSpec::None),
            Just(PowerSpec::IoReport),
            Just(PowerSpec::Nvml(None)),
            any::<u32>().prop_map(|i| PowerSpec::Nvml(Some(NvmlDevice::Index(i)))),
            uuid.prop_map(|u| PowerSpec::Nvml(Some(NvmlDevice::Uuid(u)))),
            address().prop_map(|a| PowerSpec::Nvml(Some(NvmlDevice::Pci(a)))),
            "package-[0-9]".prop_map(|p| PowerSpec::Rapl(Some(p))),
            Just(PowerSpec::Rapl(None)),
            "amdgpu|i915|xe".prop_map(|d| PowerSpec::Hwmon(Some(HwmonSensor::Driver(d)))),
            address().prop_map(|a| PowerSpec::Hwmon(Some(HwmonSensor::Pci(a)))),
            Just(PowerSpec::Hwmon(None)),
            command.prop_map(|(program, mut words)| {
                words.insert(0, program);
                PowerSpec::Command(words)
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(spec in spec()) {
            prop_assert_eq!(spec.to_string().parse(), Ok(spec));
        }

        #[test]
        fn any_text_is_a_source_or_an_error(text in ".{0,40}") {
            if let Ok(spec) = text.parse::<PowerSpec>() {
                prop_assert_eq!(spec.to_string().parse(), Ok(spec));
            }
        }
    }

    #[test]
    fn a_command_is_split_as_people_expect() {
        let spec = "command: meter --unit 'milli joules' \"it's\" ''".parse();
        let words = ["meter", "--unit", "milli joules", "it's", ""];
        let words = words.map(str::to_owned).to_vec();
        assert_eq!(spec, Ok(PowerSpec::Command(words)));
    }

    #[test]
    fn names_of_the_listing_are_understood() {
        let place = "0000:03:00.0".parse().expect("an address");
        let expected = PowerSpec::Hwmon(Some(HwmonSensor::Pci(place)));
        assert_eq!("hwmon:amdgpu:0000:03:00.0".parse(), Ok(expected));
        let expected = PowerSpec::Nvml(Some(NvmlDevice::Pci(place)));
        assert_eq!("nvml:00000000:03:00.0".parse(), Ok(expected));
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |text: &str| text.parse::<PowerSpec>().expect_err(text).to_string();
        assert!(error("nvidia").contains("nvml[:index|uuid|pci]"));
        assert!(error("nvml:RTX").contains("nvml:0"));
        assert!(error("nvml:").contains("leave the colon away"));
        assert!(error("hwmon:nouveau").contains("hwmon:amdgpu"));
        assert!(error("command:").contains("needs a program"));
        assert!(error("command:'a").contains("not closed"));
        assert!(error("auto:0").contains("auto"));
    }
}
