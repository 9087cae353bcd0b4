use super::*;
use crate::kernel::problem::Rejection;

mod emulated;

fn program() -> Program {
    Program {
        parameters: Default::default(),
        buffers: Vec::new(),
        passes: Vec::new(),
    }
}

fn shape(m: u32, n: u32, k: u32) -> GemmShape {
    GemmShape {
        batch: 1,
        m,
        n,
        k,
        layout: Layout::Nn,
    }
}

/// All of A, and B, of one product of the batch.
fn operands(problem: &Matmul, batch: usize) -> Operands {
    problem.operands(batch, (0..problem.dims().0).collect())
}

fn matmul(shape: GemmShape, seed: u64) -> Matmul {
    Matmul::new(shape, Precision::F32, Draw::normal(seed))
}

/// What a correct float32 kernel writes: fused multiply-adds in order of k.
fn multiply_f32(problem: &Matmul) -> Vec<f32> {
    let (m, n, k) = problem.dims();
    let mut out = Vec::new();
    for batch in 0..problem.shape.batch as usize {
        let Operands { a, b, .. } = operands(problem, batch);
        let rows: Vec<f32> = (0..m)
            .into_par_iter()
            .flat_map_iter(|i| {
                let mut row = vec![0f32; n];
                for p in 0..k {
                    let x = a[i * k + p] as f32;
                    for (c, &y) in row.iter_mut().zip(&b[p * n..][..n]) {
                        *c += x * y as f32;
                    }
                }
                row
            })
            .collect();
        out.extend(rows);
    }
    out
}

fn check(problem: &Matmul, output: &[f32]) -> Verdict {
    let output: Vec<f64> = output.iter().copied().map(f64::from).collect();
    problem.check(&program(), &Tensor::new(Element::F32, &output).bytes)
}

/// A 2×2 by 2×2 product by hand: [1 2; 3 4]·[5 6; 7 8] = [19 22; 43 50], and
/// with a sign flipped Σ|a·b| stays the same.
#[test]
fn product_matches_a_hand_calculation() {
    let c = product(
        &[1.0, -2.0, 3.0, 4.0],
        &[5.0, 6.0, 7.0, 8.0],
        2,
        2,
        2,
        f64::abs,
    );
    assert_eq!(c, [[-9.0, 19.0], [-10.0, 22.0], [43.0, 43.0], [50.0, 50.0]]);
}

#[test]
fn reference_does_not_depend_on_the_number_of_threads() {
    let on = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| {
                let problem = matmul(shape(37, 300, 65), 3);
                let o = operands(&problem, 0);
                product(&o.a, &o.b, 37, 300, 65, f64::abs)
            })
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn layouts_describe_the_same_kind_of_product() {
    for layout in [Layout::Nn, Layout::Nt, Layout::Tn] {
        let problem = matmul(
            GemmShape {
                layout,
                batch: 2,
                ..shape(5, 7, 3)
            },
            1,
        );
        assert_eq!(check(&problem, &multiply_f32(&problem)).rejection, None);
        let Operands { a, b, .. } = operands(&problem, 1);
        let stored = problem.inputs()[0].values();
        let expect = if layout == Layout::Tn {
            stored[15 + 5]
        } else {
            stored[15 + 1]
        };
        assert_eq!(a[1], expect, "A(0, 1) of the second product");
        let stored = problem.inputs()[1].values();
        let expect = if layout == Layout::Nt {
            stored[21 + 1]
        } else {
            stored[21 + 7]
        };
        assert_eq!(b[7], expect, "B(1, 0) of the second product");
    }
}

#[test]
fn a_correct_product_passes_and_each_kind_of_wrong_one_is_rejected() {
    let problem = matmul(shape(96, 80, 512), 5);
    let good = multiply_f32(&problem);
    let verdict = check(&problem, &good);
    assert_eq!((verdict.rejection, verdict.checked), (None, Checked::Full));

    assert!(matches!(
        check(&problem, &vec![f32::NAN; good.len()]).rejection,
        Some(Rejection::NotComputed { .. })
    ));
    let mut last = good.clone();
    *last.last_mut().unwrap() += 0.01;
    let rejection = check(&problem, &last).rejection.unwrap().to_string();
    assert!(rejection.contains("row 95, column 79"), "{rejection}");
}

const LAYOUTS: [Layout; 3] = [Layout::Nn, Layout::Nt, Layout::Tn];

fn on(data: Data, precision: Precision, shape: GemmShape) -> Matmul {
    Matmul::new(shape, precision, Draw { seed: 5, data })
}

/// Fused multiply-adds in order of k, rounded to the accumulator every time.
fn multiply(problem: &Matmul) -> Vec<u8> {
    let (m, n, k) = problem.dims();
    let o = operands(problem, 0);
    let element = problem.precision.accumulator();
    let round = |value: f64| Tensor::new(element, &[value]).values()[0];
    let values: Vec<f64> = (0..m * n)
        .into_par_iter()
        .map(|e| {
            let (i, j) = (e / n, e % n);
            (0..k).fold(0.0, |sum, p| round(sum + o.a[i * k + p] * o.b[p * n + j]))
        })
        .collect();
    Tensor::new(element, &values).bytes
}

#[test]
fn correct_products_pass_on_every_distribution() {
    let distributions = ["uniform", "zeros", "sparse:0.9", "sparse:1", "sorted"];
    for data in distributions.map(|text| text.parse::<Data>().unwrap()) {
        for precision in [
            Precision::F32,
            Precision::F16F32acc,
            Precision::F16,
            Precision::I8I32acc,
        ] {
            for layout in LAYOUTS {
                let shape = GemmShape {
                    layout,
                    ..shape(35, 33, 31)
                };
                let problem = on(data, precision, shape);
                let output = multiply(&problem);
                let verdict = problem.check(&program(), &output);
                assert_eq!(verdict.rejection, None, "{data} {precision} {layout:?}");
                assert!(problem.on_normal_inputs().is_some());

                // Nobody wrote it; in integers the poison is a large number.
                let poison = 0x7fc0_7fc0u32.to_le_bytes().repeat(output.len() / 4);
                let rejection = problem.check(&program(), &poison).rejection;
                assert!(
                    matches!(rejection, Some(Rejection::NotComputed { .. })),
                    "{rejection:?}"
                );

                // Zeros are right where the inputs are, and nowhere else.
                let zeros = problem.check(&program(), &vec![0; output.len()]);
                assert_eq!(
                    zeros.rejection.is_none(),
                    data.is_zero(),
                    "{data} {precision} {layout:?}"
                );
                if data.is_zero() {
                    assert_eq!((zeros.max_scaled_error, zeros.tolerance), (Some(0.0), 0.0));
                }
            }
        }
    }
}

/// Products of zeros allow for nothing else, not even where only products with
/// random vectors look.
#[test]
fn products_of_zeros_are_exact() {
    for (shape, last) in [
        (shape(33, 35, 8), 33 * 35 - 1),
        (shape(64, 2048, 65536), 33 * 2048 + 1001),
    ] {
        let problem = on(Data::Zeros, Precision::F32, shape);
        let mut output = vec![0f32; problem.outputs() as usize];
        let good = check(&problem, &output);
        assert_eq!((good.rejection, good.max_scaled_error), (None, Some(0.0)));
        output[last] = f32::MIN_POSITIVE;
        assert!(check(&problem, &output).rejection.is_some());
        output[last] = f32::NAN;
        assert!(check(&problem, &output).rejection.is_some());
    }
}

/// Rows of sorted values hardly vary: single precision must pass however its
/// roundings pile up, and half precision must not pass for it.
#[test]
fn sorted_values_are_verified_in_single_precision_only_where_it_is_single() {
    for layout in LAYOUTS {
        for k in [256, 4096] {
            let shape = GemmShape {
                layout,
                ..shape(24, 20, k)
            };
            let problem = on(Data::Sorted, Precision::F32, shape);
            let verdict = problem.check(&program(), &multiply(&problem));
            assert_eq!(verdict.rejection, None, "{layout:?} {k}");
            let posed = on(Data::Sorted, Precision::F16, shape);
            let halves = Element::F16.read(&multiply(&posed), 24 * 20);
            let halves = Tensor::new(Element::F32, &halves).bytes;
            let rejection = problem.check(&program(), &halves).rejection;
            assert!(rejection.is_some(), "{layout:?} {k}");
        }
    }
}

/// n·u = 1024/2048: the bound is 1, and no element can differ from zero by more.
/// The lowest of 40 rows has a mean of −φ(1.96)/0.025 = −2.34: 16384 products of
/// two such values are 89.6·10³, and half precision ends at 65504.
#[test]
fn long_sums_of_sorted_values_in_half_precision_cannot_be_verified() {
    for (k, why) in [
        (1024, "as large as the result"),
        (16384, "holds no more than 65504"),
    ] {
        let shape = GemmShape {
            layout: Layout::Nt,
            ..shape(40, 40, k)
        };
        let problem = on(Data::Sorted, Precision::F16, shape);
        let output = vec![0; 2 * 40 * 40];
        let verdict = problem.check(&program(), &output);
        let rejection = verdict.rejection.unwrap();
        assert!(
            matches!(rejection, Rejection::Unverifiable { .. }),
            "{rejection}"
        );
        assert!(rejection.to_string().contains(why), "{rejection}");
        assert_eq!(
            (verdict.checked, verdict.max_scaled_error),
            (Checked::None, None)
        );
    }
}

/// Squares, so that the shapes agree and only the values can tell.
#[test]
fn swapped_operands_are_rejected() {
    let problem = matmul(shape(64, 64, 64), 5);
    let o = operands(&problem, 0);
    let swapped: Vec<f32> = product(&o.b, &o.a, 64, 64, 64, f64::abs)
        .iter()
        .map(|c| c[0] as f32)
        .collect();
    assert!(check(&problem, &swapped).rejection.is_some());
}

/// The accumulator is rounded to half precision after every multiply-add.
#[test]
fn half_precision_accumulation_cannot_pose_as_single() {
    for k in [32, 1024, 8192] {
        let problem = matmul(shape(16, 16, k), 5);
        let k = k as usize;
        let o = operands(&problem, 0);
        let posed: Vec<f32> = (0..256)
            .map(|e| {
                let (i, j) = (e / 16, e % 16);
                (0..k).fold(half::f16::ZERO, |acc, p| {
                    half::f16::from_f64(acc.to_f64() + o.a[i * k + p] * o.b[p * 16 + j])
                })
            })
            .map(f32::from)
            .collect();
        assert!(check(&problem, &posed).rejection.is_some(), "K = {k}");
    }
}

/// 2048³ is beyond the budget for a full reference. One wrong element anywhere
/// must show: on the border, where rows and columns are checked in full, and
/// inside, where only the products with random vectors look.
#[test]
fn sampled_checks_find_one_wrong_element_of_a_large_product() {
    let problem = matmul(shape(2048, 2048, 2048), 9);
    let mut output = multiply_f32(&problem);
    let verdict = check(&problem, &output);
    assert_eq!(
        (verdict.rejection, verdict.checked),
        (None, Checked::Sampled)
    );
    for (row, col) in [(2047, 1033), (1033, 517)] {
        let good = std::mem::replace(&mut output[row * 2048 + col], 0.0);
        assert!(
            good.abs() > 4.0,
            "choose an element that is not small: {good}"
        );
        let rejection = check(&problem, &output).rejection.unwrap().to_string();
        assert!(rejection.contains(&format!("row {row}")), "{rejection}");
        output[row * 2048 + col] = good;
    }
}

/// The exact product, rounded to the output's format, passes in every precision;
/// one element that is off by one does not.
#[test]
fn every_precision_notices_an_element_that_is_off() {
    let precisions = [
        Precision::F64,
        Precision::F32,
        Precision::F16,
        Precision::F16F32acc,
        Precision::I8I32acc,
    ];
    for precision in precisions {
        let problem = Matmul::new(shape(33, 35, 8), precision, Draw::normal(2));
        let element = precision.accumulator();
        let exact = || operands(&problem, 0);
        let product: Vec<f64> = product(&exact().a, &exact().b, 33, 35, 8, f64::abs)
            .iter()
            .map(|c| c[0])
            .collect();
        let verdict =
            |values: &[f64]| problem.check(&program(), &Tensor::new(element, values).bytes);
        assert_eq!(verdict(&product).rejection, None, "{precision}");
        let mut wrong = product;
        *wrong.last_mut().unwrap() += 1.0;
        assert!(verdict(&wrong).rejection.is_some(), "{precision}");
    }
}

/// 8-bit products are compared exactly even where only products with random
/// vectors look.
#[test]
fn sampled_checks_of_integers_are_exact() {
    let problem = Matmul::new(
        shape(256, 2048, 16384),
        Precision::I8I32acc,
        Draw::normal(2),
    );
    let o = operands(&problem, 0);
    let mut output: Vec<f64> = product(&o.a, &o.b, 256, 2048, 16384, f64::abs)
        .iter()
        .map(|c| c[0])
        .collect();
    let verdict =
        |values: &[f64]| problem.check(&program(), &Tensor::new(Element::I32, values).bytes);
    let good = verdict(&output);
    assert_eq!((good.rejection, good.checked), (None, Checked::Sampled));
    output[133 * 2048 + 1001] += 1.0;
    let rejection = verdict(&output).rejection.unwrap().to_string();
    assert!(rejection.contains("row 133"), "{rejection}");
}
