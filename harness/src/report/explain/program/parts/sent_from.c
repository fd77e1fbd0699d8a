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
