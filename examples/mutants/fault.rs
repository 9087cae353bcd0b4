//! Faults, and the edits of the templates that bring them into every kernel.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, ensure};
use flopwatt::kernel::id::{CaseId, Operation, Precision};
use flopwatt::kernel::shape::Shape;
use flopwatt::kernel::template::{BUILTIN, Templates};

/// What is wrong with a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing: a control, which must be accepted.
    None,
    /// Operands are rounded to so many bits of significand (the leading one counts).
    Operands(u32),
    /// So many products at a time are added up in half precision, then in single.
    HalfSums(u32),
    /// Keys that get no weight; of a product, the last step along K.
    Lost(Keys),
    /// All scores are 0.
    NoScores,
    /// A query sees one key too many.
    Mask,
    /// What is done to outputs on their way to memory.
    Stored(Stored),
}

/// Keys of attention that are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    Last,
    OnePercent,
    Split,
}

/// Faults of storing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stored {
    Zeros,
    Larger,
    Smaller,
    StaleRow,
    Swapped,
    Race,
}

/// A fault, its name, and what it is in words.
pub struct Mutant {
    pub name: &'static str,
    pub what: &'static str,
    pub fault: Fault,
}

const fn mutant(name: &'static str, fault: Fault, what: &'static str) -> Mutant {
    Mutant { name, what, fault }
}

#[rustfmt::skip]
pub const MUTANTS: &[Mutant] = &[
    mutant("honest", Fault::None, "the kernel as it is"),
    mutant("tf32", Fault::Operands(11), "operands of 11 bits"),
    mutant("bf16", Fault::Operands(8), "operands of 8 bits"),
    mutant("fp8", Fault::Operands(4), "operands of 4 bits (e4m3)"),
    mutant("half-4", Fault::HalfSums(4), "4 products at a time in half precision"),
    mutant("half-16", Fault::HalfSums(16), "16 products at a time in half precision"),
    mutant("half-64", Fault::HalfSums(64), "64 products at a time in half precision"),
    mutant("last", Fault::Lost(Keys::Last), "the last key, or the last step of K, lost"),
    mutant("percent", Fault::Lost(Keys::OnePercent), "1 % of the keys lost"),
    mutant("split", Fault::Lost(Keys::Split), "a sixteenth of the keys lost"),
    mutant("scores", Fault::NoScores, "scores ignored"),
    mutant("mask", Fault::Mask, "every query sees one key too many"),
    mutant("zeros", Fault::Stored(Stored::Zeros), "zeros"),
    mutant("larger", Fault::Stored(Stored::Larger), "a row's largest element 10 % larger"),
    mutant("smaller", Fault::Stored(Stored::Smaller), "a row's largest element 10 % smaller"),
    mutant("stale", Fault::Stored(Stored::StaleRow), "a row holds what the one before does"),
    mutant("swapped", Fault::Stored(Stored::Swapped), "two columns of 16 rows swapped"),
    mutant("race", Fault::Stored(Stored::Race), "the last write is lost if its thread ends first"),
];

/// Where a fault of storing strikes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target {
    /// The row, all heads and products one below the other.
    pub row: usize,
    /// Its largest element, counted from the first of the output.
    pub element: usize,
    /// Elements of the output.
    pub count: usize,
}

impl Keys {
    /// Whether `key` of `keys` is lost.
    pub fn hold(self, key: usize, keys: usize) -> bool {
        match self {
            Self::Last => key + 1 == keys,
            Self::OnePercent => key % 100 == 50,
            Self::Split => key / (keys / 16).max(1) == 9,
        }
    }

    fn wgsl(self) -> &'static str {
        match self {
            Self::Last => "key + 1u == params.kv_len",
            Self::OnePercent => "key % 100u == 50u",
            Self::Split => "key / max(params.kv_len / 16u, 1u) == 9u",
        }
    }
}

impl Mutant {
    /// Whether the fault makes a difference to a case: formats hold some values of
    /// others, only some operations have keys, and only causal attention a mask. Half
    /// precision attention may round its weights to half precision, which no bound
    /// tells from sums in half precision.
    pub fn applies_to(&self, id: &CaseId) -> bool {
        use Precision::{F16, F16F32acc, F32, F64, I8I32acc};
        let (matmul, attention) = match id.operation {
            Operation::Matmul => (true, false),
            Operation::Attention => (false, true),
            _ => (false, false),
        };
        let variant = id.variant.as_str();
        match self.fault {
            Fault::None => true,
            Fault::Operands(bits) => match (id.operation, id.precision) {
                (Operation::Matmul | Operation::Attention, F32 | F64) => true,
                (Operation::Matmul | Operation::Attention, F16 | F16F32acc) => bits < 11,
                // Whole numbers below 2⁷.
                (Operation::Bandwidth, _) => match variant {
                    "copy" | "triad" => true,
                    "read" | "workgroup" => bits < 7,
                    _ => false,
                },
                _ => false,
            },
            // Kernels whose sums are in one place.
            Fault::HalfSums(_) => match variant {
                "naive" | EMULATED if matmul => matches!(id.precision, F32 | F16F32acc),
                "materialised" | EMULATED if attention => id.precision == F32,
                _ => false,
            },
            Fault::Lost(Keys::Last) => matmul || attention,
            Fault::Lost(_) | Fault::NoScores => attention,
            Fault::Mask => matches!(id.shape, Shape::Attention(shape) if shape.causal),
            Fault::Stored(Stored::Zeros) => true,
            Fault::Stored(Stored::StaleRow | Stored::Swapped) => matmul || attention,
            Fault::Stored(_) => {
                id.operation != Operation::Latency && id.precision != I8I32acc || matmul
            }
        }
    }

    /// The built-in templates with the fault, in a folder of their own.
    pub fn templates(&self, id: &CaseId, target: Target) -> anyhow::Result<Templates> {
        let mut texts = Texts(
            BUILTIN
                .iter()
                .map(|&(name, text)| (name, text.into()))
                .collect(),
        );
        texts.bring_in(self.fault, id.operation, target)?;
        let folder = tempfile::tempdir()?;
        for (name, text) in &texts.0 {
            fs::write(folder.path().join(name), text)?;
        }
        Ok(Templates::from_folder(folder.path())?)
    }
}

/// The variant of cases that are emulated.
pub const EMULATED: &str = "emulated";

/// Where templates take an operand from memory: the expressions, their type, its
/// scalar, and how many of these it has. Of streams, what they pass on.
#[rustfmt::skip]
const OPERANDS: &[(&str, &[&str], [&str; 3])] = &[
    ("matmul_index", &[
        r#"a[index_a(batch, row, step){{ " / 4u" if wide else "" }}]"#,
        r#"b[index_b(batch, step, col){{ " / 4u" if wide else "" }}]"#,
    ], ["{{ read }}", "{{ operand }}", "(4 if wide else 1)"]),
    ("matmul_subgroup", &["unpack2x16float({{ half }})", "bitcast<f32>({{ half }})"],
        ["{{ 'vec2<f32>' if bits == 16 else 'f32' }}", "f32", "(2 if bits == 16 else 1)"]),
    ("attention_flash", &[
        "vec4<f32>(q[q_row + {{ d * split }}u])",
        "vec4<f32>(k[element])",
        "vec4<f32>(v[element])",
    ], ["vec4<f32>", "f32", "4"]),
    ("attention_scores", &["f32(q[q_row + d])", "f32(k[k_row + d])"], ["f32", "f32", "1"]),
    ("attention_values", &["f32(v[(kv_row + key0 + local.y) * params.head_dim + d])"],
        ["f32", "f32", "1"]),
    ("attention_split", &[
        "vec4<f32>(q[q_row * VECTORS + slot % VECTORS])",
        "vec4<f32>(k[k_row + d])",
        "vec4<f32>(v[(kv_row + first + j) * VECTORS + vector])",
    ], ["vec4<f32>", "f32", "4"]),
    ("attention_subgroup", &[
        "unpack(q[q_row_{{ r }} + {{ w }}u])",
        "unpack(k[k_row_{{ j }} + word_{{ i }}])",
        "unpack(v[v_row_{{ j }} + word_{{ i }}])",
    ], ["Elements", "f32", "per_word"]),
    ("bandwidth_read", &["source[i + {{ u }}u * params.invocations]"], ["Element", "f32", "width"]),
    ("bandwidth_workgroup", &["source[slot]"], ["Element", "f32", "width"]),
    ("bandwidth_stream", &["value(first + {{ i * lanes }}u)"], ["Element", "f32", "width"]),
];

/// Where a key gets its weight, and which key it is.
#[rustfmt::skip]
const WEIGHTS: &[(&str, &str, &str)] = &[
    ("attention_softmax", "exp(scores[first + key] - maximum)", "key"),
    ("attention_flash", "exp(s_{{ i }} - maximum)", "first + j + {{ i }}u"),
    ("attention_subgroup", "exp2(s_{{ j }}_{{ r }} - highest_{{ r }})", "first + {{ j }}u"),
    ("attention_split", "exp2(s_{{ h }} - highest_{{ h }})", "first + lane"),
];

/// Where a template stores what it has computed.
struct Store {
    template: &'static str,
    /// The buffer, the type of what is in it, and how many of these make a row.
    buffer: [&'static str; 3],
    /// Index and values of the statements that store.
    index: &'static str,
    values: &'static [&'static str],
    /// What is stored: its type, the scalar, how many of these it has.
    of: [&'static str; 3],
}

const TOTAL: &str =
    r#"{% for e in range(width) %}{{ "" if loop.first else " + " }}sum[{{ e }}]{% endfor %}"#;
const VECTOR: [&str; 3] = ["vec4<Stored>", "Stored", "4"];

#[rustfmt::skip]
const STORES: &[Store] = &[
    Store { template: "matmul_naive", buffer: ["c", "Acc", "params.n"],
        index: "index_c(id.z, row, col)", values: &["acc"], of: ["Acc", "Acc", "1"] },
    Store { template: "matmul_workgroup", buffer: ["c", "Acc", "params.n"],
        index: "index_c(group.z, row, col)", values: &["acc"], of: ["Acc", "Acc", "1"] },
    Store { template: "matmul_register", buffer: ["c", "Acc", "params.n"],
        index: "index_c(group.z, row, col0 + {{ c * threads_x * 4 + e }}u + lane_x * 4u)",
        values: &["acc_{{ r }}_{{ c }}[{{ e }}]"], of: ["Acc", "Acc", "1"] },
    Store { template: "matmul_subgroup", buffer: ["c", "f32", "params.n"],
        index: "at + {{ r }}u * params.n + {{ offset }}u",
        values: &["acc_{{ r }}_{{ c }}"], of: ["f32", "f32", "1"] },
    Store { template: "attention_flash", buffer: ["out", "vec4<Stored>", "VECTORS"],
        index: "q_row + {{ d * split }}u",
        values: &["vec4<Stored>(o_{{ d }} * inverse)"], of: VECTOR },
    Store { template: "attention_reduce", buffer: ["out", "vec4<Stored>", "VECTORS"],
        index: "row * VECTORS + vector", values: &["vec4<Stored>(sum * inverse)"], of: VECTOR },
    Store { template: "attention_subgroup", buffer: ["out", "Word", "WORDS"],
        index: "q_row_{{ r }} + {{ w }}u",
        values: &[r#"pack(Elements({% for _ in parts %}{{ ", " if not loop.first }}o_{{ r }}_{{ w * per_word + loop.index0 }}{% endfor %}) * inverse)"#],
        of: ["Elements", "f32", "per_word"] },
    Store { template: "attention_values", buffer: ["out", "Stored", "params.head_dim"],
        index: "(head * params.q_len + row) * params.head_dim + d",
        values: &["Stored(sum)"], of: ["Stored", "Stored", "1"] },
    Store { template: "bandwidth_stream", buffer: ["a", "Element", "256u"],
        index: "first + {{ i * lanes }}u",
        values: &["value(first + {{ i * lanes }}u)"], of: ["Element", "f32", "width"] },
    Store { template: "bandwidth_read", buffer: ["sums", "f32", "256u"],
        index: "id.x", values: &["sum", TOTAL], of: ["f32", "f32", "1"] },
    Store { template: "bandwidth_workgroup", buffer: ["sums", "f32", "256u"],
        index: "group.x * LANES + local", values: &["sum", TOTAL], of: ["f32", "f32", "1"] },
    Store { template: "peak_chains", buffer: ["result", "i32", "256u"],
        index: "id.x", values: &["sum", TOTAL], of: ["i32", "i32", "1"] },
    Store { template: "empty", buffer: ["target_", "u32", "1u"],
        index: "0", values: &["source[0]"], of: ["u32", "u32", "1"] },
];

/// A sum of products in one place of a template: the sum and how it is declared, the
/// step, its terms and how many steps were before, and where the sum goes.
type Sum = (
    &'static str,
    [&'static str; 2],
    [&'static str; 3],
    [&'static str; 2],
);

#[rustfmt::skip]
const SUMS: &[Sum] = &[
    ("matmul_naive", ["acc", "{{ acc }}()"],
        ["multiply_add", "fetch_a(id.z, row, step), fetch_b(id.z, step, col)", "step"],
        ["c[index_c(id.z, row, col)] = acc;", "c[index_c(id.z, row, col)] = acc + half;"]),
    ("attention_scores", ["sum", "0.0"],
        ["fma", "tile_q[local.y * TILE + {{ d }}u], tile_k[local.x * TILE + {{ d }}u]", "(d0 + {{ d }}u)"],
        ["sum * params.scale", "(sum + half) * params.scale"]),
    ("attention_values", ["sum", "0.0"],
        ["fma", "tile_p[local.y * TILE + {{ key }}u], tile_v[{{ key }}u * TILE + local.x]", "(key0 + {{ key }}u)"],
        ["Stored(sum)", "Stored(sum + half)"]),
];

/// Templates by name.
struct Texts(BTreeMap<&'static str, String>);

impl Texts {
    fn text(&mut self, template: &str) -> anyhow::Result<&mut String> {
        let text = self.0.get_mut(format!("{template}.wgsl.jinja").as_str());
        text.with_context(|| format!("there is no template {template}"))
    }

    /// Replaces the one place that reads `from`.
    fn replace(&mut self, template: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text = self.text(template)?;
        let places = text.matches(from).count();
        ensure!(
            places == 1,
            "{template} has {places} places that read {from:?}, not one"
        );
        *text = text.replace(from, to);
        Ok(())
    }

    fn append(&mut self, template: &str, function: &str) -> anyhow::Result<()> {
        self.text(template)?.push_str(function);
        Ok(())
    }

    fn bring_in(&mut self, fault: Fault, operation: Operation, at: Target) -> anyhow::Result<()> {
        match fault {
            Fault::None => Ok(()),
            Fault::Operands(bits) => self.round_operands(bits),
            Fault::HalfSums(chunk) => self.half_sums(chunk),
            Fault::Lost(_) if operation == Operation::Matmul => self.lose_last_step(),
            Fault::Lost(keys) => self.lose(keys),
            Fault::NoScores => ["flash", "scores", "split", "subgroup"]
                .iter()
                .try_for_each(|name| {
                    let template = format!("attention_{name}");
                    self.replace(&template, "params.scale", "(0.0 * params.scale)")
                }),
            Fault::Mask => self.replace(
                "attention_index",
                "params.kv_len + 1u",
                "params.kv_len + 2u",
            ),
            Fault::Stored(how) => STORES.iter().try_for_each(|store| {
                let Store {
                    template,
                    buffer: [buffer, ..],
                    index,
                    ..
                } = store;
                for value in store.values {
                    let stored = store.packed(value).unwrap_or(value);
                    let from = format!("{buffer}[{index}] = {value};");
                    self.replace(template, &from, &format!("store({index}, {stored});"))?;
                }
                self.append(template, &store.function(how, at))
            }),
        }
    }

    /// To the nearest, ties to even. Four bits are those of e4m3, whose least normal
    /// number is 2⁻⁶.
    fn round_operands(&mut self, bits: u32) -> anyhow::Result<()> {
        let cut = 24 - bits;
        let (most, mask) = ((1u32 << (cut - 1)) - 1, !((1u32 << cut) - 1));
        let subnormal = match bits {
            4 => "if abs(x) < 0.015625 { return round(x * 512.0) / 512.0; }",
            _ => "",
        };
        for (template, places, [of, scalar, count]) in OPERANDS {
            for place in *places {
                self.replace(template, place, &format!("rounded({place})"))?;
            }
            let function = format!(
                "
fn nearest(x: f32) -> f32 {{
    {subnormal}
    let bits = bitcast<u32>(x);
    return bitcast<f32>((bits + {most}u + ((bits >> {cut}u) & 1u)) & {mask}u);
}}
fn rounded(x: {of}) -> {of} {{
{{% if {count} == 1 %}}
    return {scalar}(nearest(f32(x)));
{{% else %}}
    return {of}({{% for e in range({count}) %}}{{{{ \", \" if not loop.first }}}}{scalar}(nearest(f32(x[{{{{ e }}}}]))){{% endfor %}});
{{% endif %}}
}}
"
            );
            self.append(template, &function)?;
        }
        Ok(())
    }

    /// Half of the last of 24 − 11 = 13 bits is added and all 13 are cut off: packing
    /// into half precision and unpacking is what some compilers leave out.
    fn half_sums(&mut self, chunk: u32) -> anyhow::Result<()> {
        for (template, [sum, zero], [step, terms, number], [from, to]) in SUMS {
            let declared = format!("    var {sum} = {zero};");
            self.replace(
                template,
                &declared,
                &format!("{declared}\n    var half = {zero};"),
            )?;
            let last = chunk - 1;
            self.replace(
                template,
                &format!("{sum} = {step}({terms}, {sum});"),
                &format!(
                    "half = {step}({terms}, half);
        half = bitcast<f32>((bitcast<u32>(half) + 0x1000u) & 0xffffe000u);
        if {number} % {chunk}u == {last}u {{
            {sum} += half;
            half = 0.0;
        }}"
                ),
            )?;
            self.replace(template, from, to)?;
        }
        Ok(())
    }

    fn lose(&mut self, keys: Keys) -> anyhow::Result<()> {
        for (template, weight, key) in WEIGHTS {
            self.replace(template, weight, &format!("weigh({weight}, {key})"))?;
            let function = "fn weigh(p: f32, key: u32) -> f32 { return select(p, 0.0, LOST); }\n";
            self.append(template, &function.replace("LOST", keys.wgsl()))?;
        }
        Ok(())
    }

    /// Of packed integers the last word, of panels the last that is read at once.
    fn lose_last_step(&mut self) -> anyhow::Result<()> {
        self.replace("matmul_index", "return params.k;", "return params.k - 1u;")?;
        self.replace(
            "matmul_index",
            "return (params.k + 3u) / 4u;",
            "return (params.k - 1u) / 4u;",
        )?;
        let shorter = "k + {{ run if along_k else 1 }}u < params.k";
        self.replace("matmul_pack", "k < params.k", shorter)
    }
}

impl Store {
    /// What of `value` is packed before it is stored.
    fn packed<'v>(&self, value: &'v str) -> Option<&'v str> {
        value.strip_prefix("pack(")?.strip_suffix(")")
    }

    fn function(&self, how: Stored, at: Target) -> String {
        let Self {
            buffer: [buffer, raw, row],
            of: [of, scalar, count],
            ..
        } = self;
        let stored = match self.packed(self.values[0]) {
            Some(_) => "pack(value)",
            None => "value",
        };
        let Target {
            row: target,
            element,
            ..
        } = at;
        let scale = |sign: &str| {
            format!(
                "    var changed = value;
    if at == {{{{ {element} // {count} }}}}u {{
{{% if {count} == 1 %}}
        changed = value {sign} value / {scalar}(10);
{{% else %}}
        changed[{{{{ {element} % {count} }}}}] = value[{{{{ {element} % {count} }}}}] * {scalar}(1 {sign} 0.1);
{{% endif %}}
    }}
    put(at, changed);"
            )
        };
        let body = match how {
            Stored::Zeros => format!("    put(at, {of}());"),
            Stored::Larger => scale("+"),
            Stored::Smaller => scale("-"),
            Stored::StaleRow => format!(
                "    if at / {row} != {target}u {{ put(at, value); }}
    if at / {row} + 1u == {target}u {{ put(at + {row}, value); }}"
            ),
            Stored::Swapped => format!(
                "    let col = at % {row};
    let swapped = at / {row} / 16u == {}u && col / 2u == {row} * 3u / 16u;
    put(select(at, at + 1u - 2u * (col % 2u), swapped), value);",
                target / 16
            ),
            // Software adapters give each thread a part of the workgroups. The first to
            // store marks the last place in the first half, whose own value comes later.
            // If that is still to come, the last write of all is lost.
            Stored::Race => {
                let last = format!("({} // {count} - 1)", at.count);
                // Workgroups of subgroups follow one another down the columns.
                let half = match self.template {
                    "matmul_subgroup" => format!("{{{{ {last} }}}}u - {row} + {row} / 128u * 64u"),
                    _ => format!("({{{{ {last} }}}}u + 1u) / {row} / 2u * {row} - 1u"),
                };
                format!(
                    "    if at == 0u {{ {buffer}[{half}] = {raw}(30000); }}
    let lost = at == {{{{ {last} }}}}u && all({buffer}[{half}] == {raw}(30000));
    if lost {{ put(at, {of}()); }} else {{ put(at, value); }}"
                )
            }
        };
        format!(
            "
fn put(at: u32, value: {of}) {{
    {buffer}[at] = {stored};
}}
fn store(at: u32, value: {of}) {{
{body}
}}
"
        )
    }
}
