//! NumPy's array files, format 1.0
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::io::{self, Write};

use crate::kernel::element::Element;

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Elements begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes an array with `dimensions` from the outermost to the innermost: the
/// first of the little-endian elements in `bytes`, whatever follows them.
///
/// # Errors
/// When writing fails.
pub fn write(
    out: &mut dyn Write,
    element: Element,
    dimensions: &[u32],
    bytes: &[u8],
) -> io::Result<()> {
    let count = dimensions.iter().map(|&size| size as usize);
    let elements = bytes.get(..count.product::<usize>() * element.size() as usize);
    let elements =
        elements.ok_or_else(|| io::Error::other("fewer elements than dimensions say"))?;
    let header = header(element, dimensions);
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.write_all(elements)
}

/// A Python dictionary, filled up with blanks so that the elements are aligned.
fn header(element: Element, dimensions: &[u32]) -> String {
    let kind = match element {
        Element::F64 => "<f8",
        Element::F32 => "<f4",
        Element::F16 => "<f2",
        Element::I8 => "|i1",
        Element::I32 => "<i4",
    };
    let shape: String = dimensions.iter().map(|size| format!("{size}, ")).collect();
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    let before = MAGIC.len() + size_of::<u16>();
    let whole = (before + text.len() + 1).next_multiple_of(ALIGNMENT);
    format!("{text:width$}\n", width = whole - before - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `numpy.save` of numpy 2 writes for `numpy.array([[1, 2, 3]], '<f2')`,
    /// but for a blank before the closing parenthesis of the shape, which Python
    /// reads the same.
    #[test]
    fn a_file_is_magic_length_header_and_elements() {
        let mut file = Vec::new();
        let elements = [0x00, 0x3c, 0x00, 0x40, 0x00, 0x42];
        let padded = [&elements[..], &[0; 10]].concat();
        write(&mut file, Element::F16, &[1, 3], &padded).unwrap();
        assert!(write(&mut Vec::new(), Element::F16, &[1, 9], &padded).is_err());
        let header = "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 3, ), }";
        assert_eq!(file[..10], *b"\x93NUMPY\x01\x00\x76\x00");
        assert!(file[10..].starts_with(header.as_bytes()));
        assert_eq!(file.len(), 128 + elements.len());
        assert_eq!(file[127], b'\n');
        assert!(file[10 + header.len()..127].iter().all(|&b| b == b' '));
        assert_eq!(file[128..], elements);
    }
}
