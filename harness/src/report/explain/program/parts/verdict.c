/* Whether a byte of the stream is none of those that were sent. */
static int is_torn(size_t at)
{
	return {{TORN}};
}

/* Compares what has arrived with what was sent. */
static int verdict(void)
{
	size_t compared = received_bytes < sent_bytes ? received_bytes : sent_bytes;
	size_t torn = 0;

	for (size_t at = 0, end; at < compared; at = end) {
		for (end = at + 1; end < compared && is_torn(end) == is_torn(at);)
			end++;
		if (!is_torn(at))
			continue;
		torn += end - at;
		printf("%zu bytes torn, from byte %zu of the stream on (offset %ld of the file): "
		       "{{PRINT}};
	}
	if ({{DIFFER}}) {
		printf("%zu bytes were sent, and %zu have arrived\n", sent_bytes, received_bytes);
		return 1;
	}
	printf("%zu of %zu bytes torn\n", torn, received_bytes);
	return torn > 0;
}
