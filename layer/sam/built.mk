# The Makefile of a release's aft-sam.tar.gz, where everything is built: what template.yaml has built in a checkout is copied.
build-%:
	cp -R built/$(ARCHITECTURE)/$*/. "$(ARTIFACTS_DIR)"
