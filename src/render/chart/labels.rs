//! Where labels go so that none covers another or a point.

/// Distances at which a label may stand from what it belongs to, in pixels.
const DISTANCES: [i32; 5] = [10, 17, 26, 36, 48];
/// Directions, in the order in which they are tried.
const DIRECTIONS: [(f64, f64); 8] = [
    (1.0, 0.0),
    (0.0, -1.0),
    (-1.0, 0.0),
    (0.0, 1.0),
    (0.7, -0.7),
    (-0.7, -0.7),
    (0.7, 0.7),
    (-0.7, 0.7),
];
/// Half of the side of what is kept free around a point.
const POINT_REACH: i32 = 6;

/// A box that is taken, by its middle and its halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// The middle.
    pub middle: (i32, i32),
    /// Half its width and half its height.
    pub half: (i32, i32),
}

impl Taken {
    /// What a point takes.
    pub(super) fn point(middle: (i32, i32)) -> Self {
        Self {
            middle,
            half: (POINT_REACH, POINT_REACH),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let apart = |own: i32, others: i32, halves: i32| (own - others).abs() >= halves;
        !apart(self.middle.0, other.middle.0, self.half.0 + other.half.0)
            && !apart(self.middle.1, other.middle.1, self.half.1 + other.half.1)
    }

    fn is_within(&self, other: &Self) -> bool {
        let inside = |own: i32, others: i32, room: i32| (own - others).abs() <= room;
        inside(self.middle.0, other.middle.0, other.half.0 - self.half.0)
            && inside(self.middle.1, other.middle.1, other.half.1 - self.half.1)
    }
}

/// Finds a place beside `anchor` for a label of `half` its size, within `bounds`,
/// and takes it; `None` where all is full.
pub(super) fn place(
    anchor: (i32, i32),
    half: (i32, i32),
    bounds: &Taken,
    taken: &mut Vec<Taken>,
) -> Option<(i32, i32)> {
    let places = DISTANCES.iter().flat_map(|&distance| {
        DIRECTIONS.iter().map(move |&(dx, dy)| {
            let along = |direction: f64, half: i32| {
                (direction * f64::from(distance + half - 3)).round() as i32
            };
            (anchor.0 + along(dx, half.0), anchor.1 + along(dy, half.1))
        })
    });
    let mut boxes = places.map(|middle| Taken { middle, half });
    let found = boxes.find(|label| {
        label.is_within(bounds) && !taken.iter().any(|other| label.overlaps(other))
    })?;
    taken.push(found);
    Some(found.middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Taken = Taken {
        middle: (100, 100),
        half: (100, 100),
    };

    #[test]
    fn labels_of_points_in_one_place_do_not_overlap() {
        let anchors = [(100, 100); 20];
        let mut taken = vec![Taken::point((100, 100))];
        for anchor in anchors {
            place(anchor, (8, 7), &BOUNDS, &mut taken).expect("there is room for twenty");
        }
        for (index, label) in taken.iter().enumerate() {
            assert!(label.is_within(&BOUNDS));
            assert!(!taken[..index].iter().any(|other| label.overlaps(other)));
        }
    }

    #[test]
    fn a_full_place_gets_no_label() {
        let mut taken = vec![BOUNDS];
        assert_eq!(place((100, 100), (8, 7), &BOUNDS, &mut taken), None);
    }

    #[test]
    fn a_lone_point_has_its_label_at_its_right() {
        let middle = place((50, 60), (8, 7), &BOUNDS, &mut Vec::new());
        assert_eq!(middle, Some((65, 60)));
    }
}
