//! PCI addresses: one form for the many in which drivers write them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The place of a function on the PCI bus, printed as `dddd:bb:dd.f`.
///
/// Parsing accepts what people and drivers write: `0000:01:00.0` (Vulkan,
/// sysfs), `00000000:01:00.0` (NVML), `01:00.0` and `01:00` (lspci), in either
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// Domain, also called segment; 0 on most machines.
    pub domain: u32,
    /// Bus in the domain.
    pub bus: u8,
    /// Device on the bus, below 32.
    pub device: u8,
    /// Function of the device, below 8.
    pub function: u8,
}

/// The text is not a PCI address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a PCI address; one looks like 0000:01:00.0 or 01:00.0")]
pub struct NotAnAddress;

impl FromStr for PciAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, function) = match text.trim().split_once('.') {
            Some((place, function)) => (place, hex(function, 1)?),
            None => (text.trim(), 0),
        };
        let parts: Vec<&str> = place.split(':').collect();
        let (domain, bus, device) = match parts[..] {
            [bus, device] => (0, hex(bus, 2)?, hex(device, 2)?),
            [domain, bus, device] => (hex(domain, 8)?, hex(bus, 2)?, hex(device, 2)?),
            _ => return Err(NotAnAddress),
        };
        if device >= 32 || function >= 8 {
            return Err(NotAnAddress);
        }
        Ok(Self {
            domain,
            bus: bus as u8,
            device: device as u8,
            function: function as u8,
        })
    }
}

/// One to `width` hexadecimal digits and nothing else.
fn hex(digits: &str, width: usize) -> Result<u32, NotAnAddress> {
    let fits = (1..=width).contains(&digits.len());
    if !fits || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(NotAnAddress);
    }
    u32::from_str_radix(digits, 16).map_err(|_| NotAnAddress)
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

/// The usual form of an address in any form, or nothing where `text` is none.
pub fn normalise(text: &str) -> Option<String> {
    text.parse::<PciAddress>().ok().map(|a| a.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_written_form_becomes_the_same_address() {
        for text in [
            "0000:0a:00.0",
            "00000000:0A:00.0",
            "0a:00.0",
            "0A:00",
            " 0a:00.0 ",
        ] {
            assert_eq!(normalise(text).as_deref(), Some("0000:0a:00.0"), "{text}");
        }
        assert_eq!(
            normalise("10000:e1:1f.7").as_deref(),
            Some("10000:e1:1f.7"),
            "domains above 16 bits exist behind Intel VMD"
        );
    }

    #[test]
    fn other_text_is_not_an_address() {
        for text in [
            "",
            "0",
            "4090",
            "RTX 4090",
            "01:00.8",
            "01:20.0",
            "1ff:00.0",
            "+1:00.0",
            "01:00.",
            "01:00.0.0",
            "a:b:c:d",
            "01:",
            "::",
        ] {
            assert_eq!(text.parse::<PciAddress>(), Err(NotAnAddress), "{text}");
        }
    }
}
