/* Whether a datagram that has arrived is the one that was sent at a place. */
static int is_same(size_t one, size_t other)
{
	size_t from = one ? arrived_end[one - 1] : 0, at = other ? end_of[other - 1] : 0;

	if (arrived_end[one] - from != end_of[other] - at)
		return 0;
	for (; from < arrived_end[one]; from++, at++) {
		if ({{DIFFERS}})
			return 0;
	}
	return 1;
}

/* Says in what a datagram differs from what was sent in its place. */
static void show(size_t one)
{
	size_t from = one ? arrived_end[one - 1] : 0, at = one && one <= datagrams ? end_of[one - 1] : 0;

	printf("datagram %zu, of %zu bytes, is none that was sent", one, arrived_end[one] - from);
	for (; from < arrived_end[one] && one < datagrams && at < end_of[one]; from++, at++) {
		if (received[from] == expected[at])
			continue;
		printf(": offset %ld of the file was sent as 0x%02x, and is 0x%02x",
		       offset_of[at], expected[at], received[from]);
		break;
	}
	printf("\n");
}

/* Compares the datagrams that have arrived with those that were sent. */
static int verdict(void)
{
	int wrong = 0;

	for (size_t one = 0; one < arrived; one++) {
		size_t other = 0;

		while (other < datagrams && !is_same(one, other))
			other++;
		if (other < datagrams)
			continue;
		show(one);
		wrong = 1;
	}
	printf("%zu datagrams were sent, %zu have arrived\n", datagrams, arrived);
	return wrong{{LOST}};
}
