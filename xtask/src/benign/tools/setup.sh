# Makes what takes programs to make, in the folder to read; runs without ganger. What is missing is missing for its cases.
has() { command -v "$1" > /dev/null; }
cd ../ro || exit 1
has gzip && gzip -k words.txt && tar -czf c.tgz c
has zip && zip -q c.zip c/*
has git && git init -q repo && (
    cd repo && cp ../words.txt . && git add words.txt &&
        git -c user.name=a -c user.email=a@b commit -q -m "first words"
) > /dev/null
exit 0
