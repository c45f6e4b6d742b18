# The inside of a machine: cover /tmp and the home by its own, then run its first program.
hostname "$NAME"
mount -t tmpfs -o size=1g tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir /run/sshd

# What the machine needs of the real /tmp and home is bound into its own before they are covered.
IFS=:
for path in $NEEDED; do
    case $path in
        /tmp/*) inside=$FOLDER/tmp/${path#/tmp/} ;;
        "$HOME"/*) inside=$FOLDER/home/${path#"$HOME"/} ;;
        *) continue ;;
    esac
    mkdir -p "$inside"
    mount --bind "$path" "$inside"
done
mount --rbind "$FOLDER/home" "$HOME"
mount --rbind "$FOLDER/tmp" /tmp

echo "$NAME is up"
exec "$@"
