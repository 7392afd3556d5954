//! Wrong: outside first.

fn lines(ranges: &[Range]) -> String {
    let lines: Vec<_> = ranges
        .iter()
        .map(|Range { inside, outside, count }| format!("{outside} {inside} {count}"))
        .collect();
    lines.join("\n")
}
