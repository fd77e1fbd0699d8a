/*
 * What is sent by reference: until the kernel says that it is done with it, the file may
 * change, and what it had when the call began may arrive, or what it has by then.
 */
struct loan {
	size_t at;	/* in the stream */
	long offset, len;
	int told;
};

struct loans {
	struct loan of[64];
	size_t made, told;
};

{{LOANS}}
static void lend(struct loans *loans, long offset, ssize_t len)
{
	struct loan *loan = &loans->of[loans->made];

	sent(offset, len);
	if (len <= 0)
		return;
	loan->at = sent_bytes - len;
	loan->offset = offset;
	loan->len = len;
	loans->made++;
}

/* The kernel says that it is done with what a call has sent. */
static void completed(struct loans *loans, size_t call)
{
	struct loan *loan = &loans->of[call % 64];

	loan->told++;
	loans->told++;
	must(pread(file, expected + loan->at, loan->len, loan->offset), "pread");
}

/* Whether that was not said once of each call. */
static int wrong_completions(struct loans *loans)
{
	int wrong = 0;

	for (size_t call = 0; call < 64; call++) {
		int told = loans->of[call].told;

		if (told {{ONCE}} (call < loans->made))
			continue;
		printf("completion %zu was told %d times, and %zu calls have sent by reference\n",
		       call, told, loans->made);
		wrong = 1;
	}
	return wrong;
}
