//! strace's lines in pieces: arguments, descriptors, strings.

/// The arguments, apart: a comma in a string or in brackets is none between arguments.
pub fn split(args: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth, mut quoted, mut escaped) = (vec![], String::new(), 0, false, false);
    for c in args.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part).trim_start().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    if !part.is_empty() {
        parts.push(part.trim_start().to_owned());
    }
    parts
}

/// `4</tmp/x>` is 4 and `AT_FDCWD</>` is AT_FDCWD: what -y adds, taken away.
pub fn without_paths(arg: &str) -> String {
    // Of a struct only what stands in the brackets behind a number.
    if let (true, Some((before, rest))) = (arg.starts_with('{'), arg.split_once('<')) {
        return format!("{before}{}", rest.rsplit_once('>').map_or(rest, |(_, after)| after));
    }
    match arg.split_once('<') {
        Some((fd, rest)) if !arg.contains('"') && !rest.starts_with('<') => fd.to_owned(),
        _ => arg.to_owned(),
    }
}

/// A string of C's, as strace writes it.
pub fn unquote(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).bytes().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'r') => bytes.push(b'\r'),
            Some(first @ b'0'..=b'7') => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                }
                bytes.push(value as u8);
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
