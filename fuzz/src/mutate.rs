//! Changes that random bits would hardly come to: of the numbers, the texts and the
//! structure of JSON.

use serde_json::Value;

/// Texts that mean something to whatever they may end up in.
const TEXTS: [&str; 26] = [
    "",
    " ",
    "<script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "]]>&lt;!--",
    "=HYPERLINK(\"http://x\")",
    "\t+1+1",
    "@SUM(A1)",
    "-1+2",
    "x;=1+1;\t-2",
    "- x #123 GH-123",
    "../../etc/passwd",
    "/etc/passwd\0.csv",
    "\u{1b}[2J\u{9b}31m\u{7f}\u{7}",
    "\u{202e}gnp.exe\u{61c}",
    "a\n::error::b\r\n##[group]c%0A",
    "| a | b |\n# x [l](javascript:alert(1)) `c`",
    "\u{fffe}\u{feff}💥",
    "{{ 7 * 7 }}",
    "NaN",
    "1e999",
    "sparse:0.123456789",
    "not-measured: because",
    "matmul/f32/best/4294967295x4294967295x1",
    "attention/f32/flash/b65535h65537q1k1d1",
    "peak/f32/fma/device",
];

/// Numbers at the edges of types and of what can be drawn.
const NUMBERS: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    5e-324,
    1e-300,
    1e-12,
    1e15,
    1e300,
    f64::MAX,
    f64::MIN,
    4294967295.0,
    9007199254740993.0,
];

/// Whole numbers at the edges of types.
const WHOLE: [u64; 7] = [0, 1, 255, 65_536, 4_294_967_295, 4_294_967_296, u64::MAX];

/// Numbers from a seed: the finaliser of SplitMix64 over a counter.
pub struct Random(pub u64);

impl Random {
    /// Below `bound`, or 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The input with a few changes: of its values, where it is JSON, or of its bytes.
pub fn changed(input: &[u8], random: &mut Random) -> Vec<u8> {
    let document = serde_json::from_slice::<Value>(input).ok();
    let document = document.filter(|_| random.below(8) > 0);
    let Some(mut document) = document else {
        return changed_bytes(input, random);
    };
    for _ in 0..1 + random.below(3) {
        let place = random.below(nodes(&document));
        let other = random.below(nodes(&document));
        let other = nth(&mut document, other).clone();
        change(nth(&mut document, place), other, random);
    }
    document.to_string().into_bytes()
}

/// Values in a document, those that hold others included.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum(),
        _ => 0,
    }
}

/// Value number `n` of a document, which has more than that.
fn nth(value: &mut Value, mut n: usize) -> &mut Value {
    if n == 0 {
        return value;
    }
    n -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(members) => members.values_mut().collect(),
        _ => Vec::new(),
    };
    for item in inner {
        let size = nodes(item);
        if n < size {
            return nth(item, n);
        }
        n -= size;
    }
    unreachable!("the document has fewer values");
}

fn change(value: &mut Value, other: Value, random: &mut Random) {
    match (random.below(4), &mut *value) {
        // Containers lose, repeat and rename what they hold.
        (0, Value::Array(items)) if !items.is_empty() => {
            items.remove(random.below(items.len()));
        }
        (1, Value::Array(items)) if !items.is_empty() => {
            let item = items[random.below(items.len())].clone();
            items.extend(vec![item; 1 + random.below(40)]);
        }
        (0 | 1, Value::Object(members)) if !members.is_empty() => {
            let keys: Vec<String> = members.keys().cloned().collect();
            let removed = members.remove(&keys[random.below(keys.len())]);
            if let Some(member) = removed.filter(|_| random.below(2) == 0) {
                members.insert(random.pick(&TEXTS).to_owned(), member);
            }
        }
        // … and have some that nobody knows.
        (2, Value::Object(members)) => {
            members.insert(random.pick(&TEXTS).to_owned(), other);
        }
        (0..=2, Value::String(text)) => match random.below(3) {
            0 => *text = random.pick(&TEXTS).to_owned(),
            1 => text.push_str(random.pick(&TEXTS)),
            _ => *text = random.pick(&TEXTS).repeat(random.pick(&[2, 200, 5000])),
        },
        (0..=2, Value::Number(_)) => {
            *value = match random.below(2) {
                0 => random.pick(&NUMBERS).into(),
                _ => random.pick(&WHOLE).into(),
            };
        }
        (_, value) => {
            *value = match random.below(6) {
                0 => Value::Null,
                1 => Value::Bool(random.below(2) == 0),
                2 => random.pick(&TEXTS).into(),
                3 => random.pick(&NUMBERS).into(),
                4 => Value::Array(Vec::new()),
                _ => other,
            };
        }
    }
}

fn changed_bytes(input: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, random.pick(&TEXTS).bytes())),
            2 => {
                let number = random.pick(&NUMBERS).to_string();
                drop(bytes.splice(at..at, number.bytes()));
            }
            3 => {
                let end = at + random.below((bytes.len() - at).min(64) + 1);
                let part = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, part.repeat(1 + random.below(8))));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
    bytes
}
