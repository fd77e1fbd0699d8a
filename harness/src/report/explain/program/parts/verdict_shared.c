/* One way to explain the stream so far: how many bytes of each sender are in it. */
struct split {
	size_t of[{{SENDERS}}];
};

static struct sent_by *senders[] = { {{SENT_BY}} };

/* Whether a byte can be the next one of a sender. */
static int is_next(struct sent_by *whose, size_t at, unsigned char byte)
{
	return at < whose->sent_bytes && ({{SAME}});
}

static void add(struct split *splits, int *count, struct split split, int who)
{
	split.of[who]++;
	for (int i = 0; i < *count; i++) {
		if (memcmp(&splits[i], &split, sizeof(split)) == 0)
			return;
	}
	if (*count == 256) {
		fprintf(stderr, "cannot run: whose bytes these are could be anything\n");
		exit(2);
	}
	splits[(*count)++] = split;
}

/*
 * Whether what has arrived is what was sent. The bytes of the senders may stand between
 * each other in any way, each in its own order: of all ways those are kept that go on.
 */
static int verdict(void)
{
	static struct split splits[256], next[256];
	int count = 1;
	size_t sent_in_all = 0;

	for (size_t at = 0; at < received_bytes; at++) {
		int found = 0;

		for (int i = 0; i < count * {{SENDERS}}; i++) {
			struct split split = splits[i / {{SENDERS}}];
			int who = i % {{SENDERS}};

			if (is_next(senders[who], split.of[who], received[at]))
				add(next, &found, split, who);
		}
		if (found == 0) {
			printf("byte %zu of the stream is 0x%02x, and was to be\n", at, received[at]);
			for (int who = 0; who < {{SENDERS}}; who++) {
				struct sent_by *whose = senders[who];
				size_t done = splits[0].of[who];

				if (done < whose->sent_bytes)
					printf("  offset %ld of the file, sent as 0x%02x\n",
					       whose->offset_of[done], whose->expected[done]);
			}
			return 1;
		}
		memcpy(splits, next, found * sizeof(next[0]));
		count = found;
	}
	for (int who = 0; who < {{SENDERS}}; who++)
		sent_in_all += senders[who]->sent_bytes;
	printf("%zu bytes were sent, and %zu have arrived\n", sent_in_all, received_bytes);
	return {{DIFFER_IN_ALL}};
}
