//! Python's `strftime`, in UTC.

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `format` with its codes replaced by parts of a point in time, or the first unknown code as error.
/// `%-d` omits leading zeros, as in glibc.
pub fn strftime(format: &str, unix_secs: i64) -> Result<String, String> {
    let date = Date::new(unix_secs);
    let mut pieces = format.split('%');
    let mut text = pieces.next().unwrap_or_default().to_string();
    while let Some(piece) = pieces.next() {
        if piece.is_empty() {
            // `%%` stands for one %.
            text.push('%');
            text.push_str(pieces.next().ok_or("%")?);
            continue;
        }
        let (bare, piece) = match piece.strip_prefix('-') {
            Some(piece) => (true, piece),
            None => (false, piece),
        };
        let code = piece.chars().next().unwrap_or(' ');
        text.push_str(&date.part(code, bare).ok_or_else(|| format!("%{code}"))?);
        text.push_str(&piece[code.len_utf8()..]);
    }
    Ok(text)
}

struct Date {
    year: i64,
    month: usize,
    day: i64,
    day_of_year: i64,
    weekday: usize, // 0 is Sunday
    hour: i64,
    minute: i64,
    second: i64,
}

impl Date {
    /// Howard Hinnant's `civil_from_days`: years that begin in March, in eras of 400 years.
    fn new(unix_secs: i64) -> Self {
        let (days, seconds) = (unix_secs.div_euclid(86_400), unix_secs.rem_euclid(86_400));
        let since_march_of_0 = days + 719_468;
        let (era, day_of_era) =
            (since_march_of_0.div_euclid(146_097), since_march_of_0.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153; // 0 is March
        let year = era * 400 + year_of_era + i64::from(month >= 10);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        Self {
            year,
            month: (month as usize + 2) % 12 + 1,
            day: day_of_year - (153 * month + 2) / 5 + 1,
            day_of_year: match month {
                10.. => day_of_year - 305,
                _ => day_of_year + 60 + i64::from(leap),
            },
            weekday: (days + 4).rem_euclid(7) as usize,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// The text for `code`; numbers are `bare` or padded with zeros.
    fn part(&self, code: char, bare: bool) -> Option<String> {
        let (number, width) = match code {
            'Y' => (self.year, 1),
            'y' => (self.year.rem_euclid(100), 2),
            'm' => (self.month as i64, 2),
            'd' => (self.day, 2),
            'j' => (self.day_of_year, 3),
            'H' => (self.hour, 2),
            'I' => ((self.hour + 11) % 12 + 1, 2),
            'M' => (self.minute, 2),
            'S' => (self.second, 2),
            _ => return self.name(code).map(str::to_string),
        };
        Some(if bare { number.to_string() } else { format!("{number:0width$}") })
    }

    fn name(&self, code: char) -> Option<&'static str> {
        Some(match code {
            'B' => MONTHS[self.month - 1],
            'b' => &MONTHS[self.month - 1][..3],
            'A' => WEEKDAYS[self.weekday],
            'a' => &WEEKDAYS[self.weekday][..3],
            'p' if self.hour < 12 => "AM",
            'p' => "PM",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_python() {
        // Made by datetime.fromtimestamp(secs, timezone.utc).strftime(format).
        for (secs, format, expected) in [
            (1_721_952_000, "%d %b %Y", "26 Jul 2024"),
            (1_721_952_000, "%B %d, %Y", "July 26, 2024"),
            (1_721_952_000, "%A %a %y-%m-%d", "Friday Fri 24-07-26"),
            (0, "%Y-%m-%d %H:%M:%S", "1970-01-01 00:00:00"),
            (-1, "%Y-%m-%d %H:%M:%S %j %I%p", "1969-12-31 23:59:59 365 11PM"),
            (951_782_400, "%d %B %Y %j", "29 February 2000 060"),
            (1_709_251_199, "%F", "?F"),
            (1_735_646_400, "%j %I%p %-d %-m", "366 12PM 31 12"),
            (1_741_392_000, "%-d/%-m/%Y", "8/3/2025"),
            (4_107_542_400, "%d %b %Y %j %a", "01 Mar 2100 060 Mon"),
            (-62_135_596_800, "%m-%d", "01-01"),
            (0, "100%% é%Yé", "100% é1970é"),
            (0, "%%%%", "%%"),
            (0, "%", "?%"),
            (0, "%é", "?é"),
            (0, "%-", "? "),
        ] {
            let actual = strftime(format, secs);
            match expected.strip_prefix('?') {
                None => assert_eq!(actual.as_deref(), Ok(expected), "{format}"),
                Some(code) => assert!(actual.unwrap_err().ends_with(code), "{format}"),
            }
        }
    }

    #[test]
    fn any_time_has_a_date() {
        for secs in [i64::MIN, i64::MAX] {
            assert!(strftime("%Y %B %A %j", secs).is_ok());
        }
    }
}
