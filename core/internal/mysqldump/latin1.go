package mysqldump

// windows are the characters that MySQL's latin1 has where ISO 8859-1 has controls: it is
// Windows' code page 1252, and what that leaves undefined is the control.
var windows = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8d, 'Ž', 0x8f,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9d, 'ž', 'Ÿ',
}

// Latin1 is the character that a byte is in MySQL's latin1.
func Latin1(c byte) rune {
	if c >= 0x80 && c < 0xa0 {
		return windows[c-0x80]
	}
	return rune(c)
}

// ToLatin1 is the byte that a character is in MySQL's latin1, if it is one.
func ToLatin1(r rune) (byte, bool) {
	if r < 0x80 || r >= 0xa0 && r <= 0xff {
		return byte(r), true //nolint:gosec // it fits
	}
	for i, w := range windows {
		if w == r {
			return byte(0x80 + i), true
		}
	}
	return 0, false
}
