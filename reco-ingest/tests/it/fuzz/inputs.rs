//! Seeded inputs: what clients send, and what becomes of it on the way.

/// An endless stream of bodies: valid ones, mutated ones and noise.
#[derive(Debug)]
pub(crate) struct Inputs {
    state: u64,
    corpus: &'static [&'static str],
    /// Pieces that mean something to the parser, for mutations to insert.
    tokens: &'static [&'static str],
}

impl Inputs {
    /// JSON bodies in all three forms.
    pub(crate) const fn json(seed: u64) -> Self {
        Self {
            state: seed,
            corpus: &[
                r#"{"id":"e1","kind":"detail","client":"c1","item":"hat","occurred_at":"2024-05-01T12:00:00Z"}"#,
                r#"{"id":7,"kind":"purchase","client":18446744073709551615,"item":-3,"occurred_at":1714564800025,"session":"s","query":"red \"hat\" \u00e9","price":9.5e0,"quantity":2,"currency":"EUR","more":{"x":[1,{"y":null}]}}"#,
                r#"[{"kind":"add","client":"c"},{"kind":"remove","client":"d"}, {"kind":"search","client":"é","query":"ü"}]"#,
                "{\"kind\":\"click\",\"client\":\"a\"}\n{\"kind\":\"click\",\"client\":\"b\"}\r\n\n{\"kind\":\"custom\",\"client\":\"c\"}\n",
                "{\n  \"kind\": \"pageview\",\n  \"client\": \"c\",\n  \"tags\": [\n{\"x\":1}\n]\n}",
            ],
            tokens: &[
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                "\"",
                "\n",
                "\r\n",
                "null",
                "true",
                "1e999",
                "-0",
                "1.5",
                "\"kind\":",
                "\"client\":1,",
                "\"id\":\"\",",
                "\\u0000",
                "\\ud800",
                "\u{feff}",
                "9223372036854775808",
            ],
        }
    }

    /// Hits, one or several a body.
    pub(crate) const fn pixel(seed: u64) -> Self {
        Self {
            state: seed,
            corpus: &[
                "z=f47ac10b-58cc-4372-a567-0e02b2c3d479&cid=c1&t=pageview&dl=https%3A%2F%2Fshop.example%2F%3Fa%3D1&ul=de",
                "z=1&cid=c1&t=event&pa=purchase&ti=T1&tr=100.5&tt=19&ts=4.9&tcc=S&cu=EUR&pr1id=hat&pr1pr=9.5&pr1qt=2&pr2id=shoe&pr2cd1=x",
                "cid=a&t=event&ec=video&ea=play&el=a+b&ev=3&tm=1714564800025\ncid=b&t=pageview\r\n\nt=pageview",
                "v=1&tid=UA-1&cid=c&t=event&pa=detail&pr1id=h%C3%A9&pal=list&uip=192.0.2.1&ua=x&sr=1x1&sd=24-bits&uid=u",
            ],
            tokens: &[
                "&",
                "=",
                "%",
                "%ff",
                "%00",
                "+",
                "\n",
                "\r\n",
                "cid=",
                "cid=x&",
                "&t=pageview",
                "pr1",
                "pr201id=x&",
                "pr99999999999id=x",
                "tr=nan&",
                "ev=1.5",
                "tm=-1&",
                "&&",
                "==",
            ],
        }
    }

    /// Lines of separated fields.
    pub(crate) const fn csv(seed: u64) -> Self {
        Self {
            state: seed,
            corpus: &[
                "v1,hat,2024-05-01T12:00:00Z,9.5",
                "v2,\"a \"\"quoted\"\" hat\",2024-05-01T12:00:00Z,",
                "v3,\"two\nlines\",2024-05-01T12:00:00Z,1e3",
                "v4,é,2024-05-01,1",
                "",
            ],
            tokens: &[
                ",", "\"", "\"\"", "\n", "\r", "\r\n", "\u{feff}", ",,,,", "nan", "inf",
            ],
        }
    }

    // SplitMix64 of Steele, Lea and Flood (2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.random() % n.max(1) as u64).unwrap()
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static [u8] {
        from[self.below(from.len())].as_bytes()
    }

    fn noise(&mut self, max_bytes: usize) -> Vec<u8> {
        let n = self.below(max_bytes + 1);
        (0..n).map(|_| self.random().to_le_bytes()[0]).collect()
    }

    fn mutate(&mut self, body: &mut Vec<u8>) {
        let at = self.below(body.len() + 1);
        let end = (at + self.below(12)).min(body.len());
        match self.below(7) {
            0 => body.truncate(at),
            1 => drop(body.drain(at..end)),
            2 => {
                let piece = body[at..end].to_vec();
                drop(body.splice(at..at, piece));
            }
            3 => {
                let token = self.pick(self.tokens);
                drop(body.splice(at..at, token.iter().copied()));
            }
            4 => {
                let noise = self.noise(4);
                drop(body.splice(at..end, noise));
            }
            5 => {
                let other = self.pick(self.corpus);
                let from = self.below(other.len() + 1);
                body.truncate(at);
                body.extend_from_slice(&other[from..]);
            }
            _ => {
                let bit = 1 << self.below(8);
                if let Some(byte) = body.get_mut(at) {
                    *byte ^= bit;
                }
            }
        }
    }
}

impl Iterator for Inputs {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.below(10) == 0 {
            return Some(self.noise(64));
        }
        let mut body = self.pick(self.corpus).to_vec();
        for _ in 0..self.below(5) {
            self.mutate(&mut body);
        }
        Some(body)
    }
}

/// How many bytes are not of those that may stand between two events.
pub(crate) fn n_content(body: &[u8]) -> usize {
    body.iter().filter(|byte| !is_separator(**byte)).count()
}

/// Whether a byte may stand between two events of a body.
pub(crate) const fn is_separator(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b'[' | b']')
}
