//! Numbers, dates and addresses as Java prints them: tools parse these texts.

use std::net::{IpAddr, SocketAddr};

/// A double rounded to four decimals, half up, as Java's `Double.toString` prints it: `0.0`,
/// `0.9212`, `676.0`, `1.0E-4`, `1.2345678E7`.
pub fn rounded(value: f64) -> String {
    if !value.is_finite() {
        return "NaN".to_owned();
    }
    double((value * 10_000.0).round() / 10_000.0)
}

/// `Double.toString`: the shortest digits that tell the value from its neighbours; an exponent below
/// 10^-3 and from 10^7 on.
pub fn double(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// `Date.toString` of a wall-clock time in UTC: `Sat Nov 21 04:08:07 UTC 2026`.
pub fn date(wall_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = wall_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    // Both indexes are remainders within their tables.
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Year, month (1..=12) and day (1..=31) of a day counted from 1970-01-01.
pub fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last one; eras have 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `InetSocketAddress.toString` of an address without a name: `/127.0.0.1:2181`,
/// `/[0:0:0:0:0:0:0:1]:2181`.
pub fn address(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("/{ip}:{}", address.port()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => format!("/{ip}:{}", address.port()),
            None => {
                let groups: Vec<String> = ip.segments().iter().map(|s| format!("{s:x}")).collect();
                format!("/[{}]:{}", groups.join(":"), address.port())
            }
        },
    }
}

#[cfg(test)]
mod tests;
