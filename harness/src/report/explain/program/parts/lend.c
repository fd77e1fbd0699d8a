/*
 * What is sent by reference: until the kernel says that it is done with it, the file may
 * change, and what it had when the call began may arrive, or what it has by then.
 */
struct loan {
	unsigned char *bytes;	/* that are to arrive */
	long offset, len;
	int told, settled;
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
	loan->bytes = expected + sent_bytes - len;
	loan->offset = offset;
	loan->len = len;
	loans->made++;
}

/* What the file has now is the last that may arrive. */
static void settle(struct loan *loan)
{
	if (loan->settled++ == 0)
		must(pread(file, loan->bytes, loan->len, loan->offset), "pread");
}

/* The kernel says that it is done with what a call has sent. */
static void completed(struct loans *loans, size_t call)
{
	loans->of[call % 64].told++;
	loans->told++;
{{SETTLE}}
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
