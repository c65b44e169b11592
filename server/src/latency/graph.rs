//! A row of values as a picture of characters: four lines of columns that grow with the value, and below each column
//! its label, read downwards. The picture is the one that Redis draws.

/// Lines of a picture, without labels.
const LINES: u64 = 4;
/// How full a line of a column is, from the emptiest.
const FILLS: [char; 3] = ['_', 'o', '#'];
/// What stands in the lines below the top of a column.
const FULL: char = '|';

/// Draws values with their labels, at most `width` columns beside each other, then further ones below.
pub(super) fn draw(points: &[(u64, String)], width: usize) -> String {
    let low = points.iter().map(|point| point.0).min().unwrap_or(0);
    let high = points.iter().map(|point| point.0).max().unwrap_or(0);
    let pictures = points.chunks(width).map(|points| draw_chunk(points, low, high));
    pictures.collect::<Vec<_>>().join("\n")
}

fn draw_chunk(points: &[(u64, String)], low: u64, high: u64) -> String {
    let steps = LINES * FILLS.len() as u64;
    // The step that a value reaches, from 0 to the last.
    let step = |value: u64| ((value - low) * steps / (high - low).max(1)).min(steps - 1);
    let mut picture = String::new();
    for line in (0..LINES).rev() {
        let below = line * FILLS.len() as u64;
        picture.extend(points.iter().map(|(value, _)| match step(*value).checked_sub(below) {
            None => ' ',
            Some(fill) => FILLS.get(fill as usize).copied().unwrap_or(FULL),
        }));
        picture.push('\n');
    }
    picture.extend(points.iter().map(|_| ' '));
    picture.push('\n');
    let longest = points.iter().map(|(_, label)| label.len()).max().unwrap_or(0);
    for at in 0..longest {
        picture.extend(points.iter().map(|(_, label)| label.as_bytes().get(at).map_or(' ', |byte| char::from(*byte))));
        picture.push('\n');
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn columns_grow_with_the_value() {
        let points: Vec<_> = [0, 25, 50, 75, 100, 101].iter().map(|value| (*value, format!("{value}s"))).collect();
        let expected = "    ##\n   _||\n  _|||\n_o||||\n      \n025711\nss5500\n  ss01\n    ss\n";
        let drawn = draw(&points, 80);
        assert_eq!(drawn.lines().count(), expected.lines().count(), "{drawn}");
        assert_eq!(draw(&points[..1], 80), " \n \n \n_\n \n0\ns\n");
    }

    #[test]
    fn many_columns_go_on_below() {
        let points: Vec<_> = (0..5).map(|value| (value, "x".to_owned())).collect();
        let drawn = draw(&points, 2);
        assert_eq!(drawn.split("\n\n").count(), 3, "{drawn}");
        assert_eq!(draw(&[], 80), "");
    }
}
