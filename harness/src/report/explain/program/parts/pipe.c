/* What is in a pipe: parts of the file, or bytes of its own. */
struct part {
	long offset, len;
	unsigned char *copy;
};

struct parts {
	struct part of[64];
	int first, end;
};

static struct parts {{PIPES}};

static void put(struct parts *pipe, long offset, ssize_t len, unsigned char *copy)
{
	if (len > 0)
		pipe->of[pipe->end++] = (struct part){ offset, len, copy };
}

/* A call has moved so many bytes from a pipe to the socket. */
static void sent_from(struct parts *pipe, ssize_t len)
{
	{{FAILED}}
	while (len > 0) {
		struct part *part = &pipe->of[pipe->first];
		long some = len < part->len ? len : part->len;

		sent(part->offset, some);
		if (part->copy) {
			memcpy(expected + sent_bytes - some, part->copy, some);
			part->copy += some;
		}
		part->offset += some;
		part->len -= some;
		len -= some;
		if (part->len == 0)
			pipe->first++;
	}
}
