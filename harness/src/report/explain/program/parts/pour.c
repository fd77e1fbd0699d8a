/* splice(2) has moved so many bytes of a pipe into another one. */
static void pour(struct parts *to, struct parts *from, ssize_t len)
{
	while (len > 0) {
		struct part *part = &from->of[from->first];
		long some = len < part->len ? len : part->len;

		put(to, part->offset, some, part->copy);
		if (part->copy)
			part->copy += some;
		part->offset += some;
		part->len -= some;
		len -= some;
		if (part->len == 0)
			from->first++;
	}
}
