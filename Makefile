# The placeholders of the first commit; the real targets follow.
.PHONY: test
test:
	swift test
