//! Makes a program that shows a difference as short as it gets.

/// Takes lines away as long as `differs` stays true. At most `tries` runs.
pub fn shorten(
    steps: &[String],
    tries: usize,
    mut differs: impl FnMut(&[String]) -> bool,
) -> Vec<String> {
    let mut best = steps.to_vec();
    let mut left = tries;
    let mut chunk = best.len() / 2;
    while chunk > 0 && left > 0 {
        let mut at = 0;
        let mut shrunk = false;
        while at < best.len() && left > 0 {
            let mut candidate = best.clone();
            candidate.drain(at..(at + chunk).min(best.len()));
            if sound(&candidate) && candidate.len() < best.len() {
                left -= 1;
                if differs(&candidate) {
                    best = candidate;
                    shrunk = true;
                    continue;
                }
            }
            at += chunk;
        }
        if !shrunk || chunk > 1 {
            chunk /= 2;
        }
    }
    shorten_multis(best, left, differs)
}

/// Takes single operations out of multis.
fn shorten_multis(
    steps: Vec<String>,
    tries: usize,
    mut differs: impl FnMut(&[String]) -> bool,
) -> Vec<String> {
    let mut best = steps;
    let mut left = tries;
    let mut line = 0;
    while line < best.len() {
        let text = best[line].clone();
        if let (Some(open), true) = (text.find("[ "), text.ends_with(" ]")) {
            // `multi [ ]` has nothing to lose.
            let inner = text.get(open + 2..text.len() - 2).unwrap_or_default();
            let parts: Vec<&str> = inner.split(" ; ").collect();
            let mut shrunk = false;
            for skip in 0..parts.len() {
                if parts.len() < 2 || left == 0 {
                    break;
                }
                let kept: Vec<&str> =
                    parts.iter().enumerate().filter(|(i, _)| *i != skip).map(|(_, p)| *p).collect();
                let mut candidate = best.clone();
                candidate[line] = format!("{}[ {} ]", &text[..open], kept.join(" ; "));
                left -= 1;
                if differs(&candidate) {
                    best = candidate;
                    shrunk = true;
                    break;
                }
            }
            if shrunk {
                continue;
            }
        }
        line += 1;
    }
    best
}

/// Whether sessions are there before they are used, and pipes are closed.
fn sound(steps: &[String]) -> bool {
    let mut known: Vec<&str> = Vec::new();
    let mut pipe: Option<&str> = None;
    for step in steps {
        let mut words = step.split(' ');
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        match first {
            "connect" | "open" => known.push(second),
            "attach" if pipe.is_none() => {
                if !words.next().is_some_and(|of| known.contains(&of)) {
                    return false;
                }
                known.push(second);
            }
            "pipe" => {
                if pipe.is_some() || !known.contains(&second) {
                    return false;
                }
                pipe = Some(second);
            }
            "end" => {
                if pipe.take().is_none() {
                    return false;
                }
            }
            "reconnect" | "drop" | "expire" => {
                if pipe.is_some() || !known.contains(&second) {
                    return false;
                }
            }
            "attach" | "4lw" | "restart" | "kill" | "dumptree" => {
                if pipe.is_some() {
                    return false;
                }
            }
            name => {
                if !known.contains(&name) || pipe.is_some_and(|p| p != name) {
                    return false;
                }
            }
        }
    }
    pipe.is_none()
}
